package mesh

func validate(r *Resource) Issues { return nil }
